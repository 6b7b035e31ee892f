"""The controller process: senses, decides, records."""
