"""OOD Audio Torso Restorer (Section III-F): the U-Net that heals the head-torso seam."""
