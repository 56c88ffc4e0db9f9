//! The wire: generated code is fresh, stored bytes of every released message still decode, decoders agree with a slow reference.

mod wire {
    mod agree;
    mod decode;
    mod encode;
    mod generated;
    mod protobuf;
    mod reference;
    mod samples;
    mod schema;
    mod stored;
}
