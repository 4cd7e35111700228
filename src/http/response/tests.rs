//! Tests of response heads.
