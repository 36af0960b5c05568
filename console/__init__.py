"""Where people operate it: command line, web service, webhooks."""
