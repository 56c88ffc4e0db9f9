//! A shard's life as a state machine above a narrow client trait: batch, transaction, journal, restore, ownership. No I/O of its own.
