"""A processor: the function that a simulated instance computes.

python -m simulator --service ranker=3 --processor tf+mine:rank
"""

from simulator.processors import Tensor


def rank(inputs):  # {"features": Tensor(shape=(2, 3), values=[…], dtype=1)}
    features = inputs["features"]
    rows, width = features.shape
    scores = [
        sum(features.values[row * width : (row + 1) * width]) for row in range(rows)
    ]
    return {"scores": Tensor((rows,), scores)}
