"""Sandbox providers: an SMTP server, and Twilio- and FCM-compatible HTTP servers, with a plane to control them."""
