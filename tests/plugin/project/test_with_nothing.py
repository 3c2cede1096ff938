"""Use the fixtures without a framework: blocking calls with the standard library."""

from http.client import HTTPConnection

import pytest


def predict(service, body, number=0):
    connection = HTTPConnection(*service.address(number), timeout=100)
    try:
        connection.request("POST", f"/api/predict/{service.name}", body, {"Authorization": service.token})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_service_counts_requests_and_can_crash_and_restart(eas_service):
    assert predict(eas_service, b"hello") == (200, b"hello")
    assert eas_service.count(0, status=200) == 1
    assert eas_service.requests()[0]["bytes_in"] == 5
    eas_service.crash(0)
    with pytest.raises(ConnectionRefusedError):
        predict(eas_service, b"hello")
    assert predict(eas_service, b"hello", 1)[0] == 200
    eas_service.restart(0)
    assert predict(eas_service, b"hello")[0] == 200


@pytest.mark.eas_service(instances=2, weights=[1, 3], processor="mnist", token="")
def test_a_service_has_the_settings_of_the_marker(eas_service):
    assert [instance["weight"] for instance in eas_service.instances] == [1, 3]
    assert predict(eas_service, b"not a tensor")[0] == 400


def test_faults_end_with_their_service(eas_service, eas_simulator_session):
    eas_service.fault("http_status", 0, code=503, when={"times": 1})
    eas_service.discovery_fault("empty_list")
    assert [predict(eas_service, b"")[0] for _ in range(2)] == [503, 200]
    assert len(eas_simulator_session.faults()) == 1
    eas_simulator_session.remove_service(eas_service.name)
    assert eas_simulator_session.faults() == []


def test_a_clean_simulator_first(eas_simulator):
    """The simulator has no state of the other test, whichever of the two tests runs first."""
    _a_clean_simulator(eas_simulator)


def test_a_clean_simulator_again(eas_simulator):
    """The simulator has no state of the other test, whichever of the two tests runs first."""
    _a_clean_simulator(eas_simulator)


def test_the_session_fixture_has_no_state_of_other_tests(eas_simulator_session):
    assert eas_simulator_session.faults() == []
    assert {instance["state"] for instance in eas_simulator_session.instances()} == {"running"}


def _a_clean_simulator(eas_simulator):
    assert eas_simulator.faults() == []
    assert {instance["state"] for instance in eas_simulator.instances()} == {"running"}
    assert eas_simulator.state()["requests"]["total"] == 0
    first = eas_simulator.instances()[0]["id"]
    eas_simulator.hang(first)
    eas_simulator.add_fault("garbage", {"discovery": True})
