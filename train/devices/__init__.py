"""Where a run computes: processes, devices, memory, and the resources of a sweep's workers."""
