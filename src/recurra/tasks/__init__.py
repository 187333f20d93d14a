"""What recurrent networks are used for, end to end; each task is thin over data, models and the runtime."""
