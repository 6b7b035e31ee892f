"""The settings that ExaBGP is run with, as the real one reads them."""

import os
import subprocess
import sys
from configparser import ConfigParser

from haman.config.exabgp import SETTINGS, exabgp_environment


def test_every_setting_is_known_and_in_force() -> None:
    """The file is read; a misspelt name would be passed over without a word."""
    done = subprocess.run(
        [sys.executable, "-m", "exabgp", "env"],
        env={**os.environ, **exabgp_environment("root")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    ours, theirs = ConfigParser(), ConfigParser()
    ours.read(SETTINGS)
    theirs.read_string(done.stdout)
    said = {name: theirs[name] for name in ours.sections()}
    for name in ours.sections():
        for key, value in ours[name].items():
            assert said[name][key].strip("'").removesuffix(".0") == value
    assert said["exabgp.log"]["level"] == "WARNING"
