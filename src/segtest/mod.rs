//! Tests of definitions (`.segtest`, LANGUAGE.md 11): script parser and runner over the engine with a simulated clock.
