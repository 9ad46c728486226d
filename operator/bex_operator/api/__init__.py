"""The App model, the one definition of an App: what may be written, and what the CRD says."""
