"""Simulated patients: anatomy, lesions, sequences, acquisition; one file each."""
