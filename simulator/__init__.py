"""A fake PAI-EAS: a control plane and a fleet of instances that can be made to fail as the real ones do."""
