"""What looks at the model after every round, and changes nothing: (watch) → (alarm, state).

The alarm is a sentence with numbers, or None. `state` holds tensors and goes into the checkpoint.
"""

from fedsim.registry import Registry

monitors = Registry("monitors")
names, build = monitors.names, monitors.build
