"""Recurra: recurrent networks written as equations, trained fast on a CPU, understood, run live."""
