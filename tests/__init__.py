"""Tests of surftrace."""
