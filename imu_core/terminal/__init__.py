"""The commands of `imu`, one module for each group; `imu_core.cli` parses and calls them."""
