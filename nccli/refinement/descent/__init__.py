"""The descent itself: what is minimised, how, and which iterate is the best."""
