"""A picture file into its picture alone and what surrounds that, all read within bounds; and back."""
