//! HTTP: liveness, readiness, look-ups. Reads the view, sends questions to workers.
