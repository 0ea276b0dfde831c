"""Evidence: what is counted of arms under examination, and what it says whenever one looks."""
