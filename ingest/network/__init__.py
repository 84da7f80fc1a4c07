"""Models of pipe networks: EPANET and SWMM."""
