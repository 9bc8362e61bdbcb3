"""What people ask to be measured of a published model: `catalog intervene`, `catalog ablate`."""
