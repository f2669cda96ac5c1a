"""The parts of a store that all engines share: each makes a call, and runs the engine's operation for it."""
