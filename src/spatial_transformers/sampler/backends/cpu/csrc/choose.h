// Which compiled path a call takes, and how it is cut into tasks.
#pragma once
#include "antialias.h"

// Return all of a job but the memory of its sums.
Job forward_job(const Call&);
Job backward_job(const Call&);
Wide wide_job(const Call&);  // of three taps and more
Antialias antialias_job(const Call&);  // of kernels that widen
