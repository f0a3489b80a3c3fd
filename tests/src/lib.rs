//! prost-tests
