"""DIS-SAM: a promptable model finds the object, IS-Net draws it to the pixel."""
