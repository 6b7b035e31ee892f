"""Typed configuration: model, reader, lint."""
