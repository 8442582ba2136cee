"""What lies behind the widgets of `app.py`: avatars kept ready, jobs, files, looks."""
