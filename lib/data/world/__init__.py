"""The synthetic world: plan (what happens) → motion → figures, props, scene, brush → draw (frames, masks) → files."""
