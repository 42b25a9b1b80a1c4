"""What is checked and measured on a GPU; `run_all` runs it, the README explains it."""
