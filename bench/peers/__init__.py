"""The empty task in other queues, each under the settings that its users would choose for speed."""
