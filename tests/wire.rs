//! The wire: generated code is fresh, stored bytes of every released message still decode, decoders agree with a slow reference.

mod wire {
    mod decode;
    mod encode;
    mod generated;
    mod samples;
    mod schema;
}
