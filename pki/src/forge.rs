//! Certificates that the CA would never sign.
