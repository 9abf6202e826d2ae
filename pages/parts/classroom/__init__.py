"""What only the Classroom page draws."""
