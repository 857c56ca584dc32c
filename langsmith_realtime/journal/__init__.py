"""Change here what stands in the state directory: writing, reading back, recovering and removing journals."""
