"""What holds for all tests: on a build server the same random examples every time."""

import os

from hypothesis import settings

settings.register_profile("build-server", derandomize=True, deadline=None)
settings.register_profile("developer", deadline=None)
settings.load_profile("build-server" if os.environ.get("CI") else "developer")
