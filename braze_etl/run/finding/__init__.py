"""What is due: listed, merged by hour, swept for what came late, counted."""
