"""haman: HA-pair and anycast manager for L7 proxies."""

__version__ = "0.1.0"
