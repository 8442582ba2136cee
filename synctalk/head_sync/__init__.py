"""Head-Sync Stabilizer (Section III-C): motion tracker, stable head points, bundle adjustment."""
