"""What makes masks: pictures, boxes, networks."""
