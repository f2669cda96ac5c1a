"""The parts of a store that are the same for every engine: each makes a call, and has the engine's operation do it."""
