"""The spine: planner, dispatch, feedback, releases, wiring; and the Celery shell around them."""
