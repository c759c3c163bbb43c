"""Student's t distribution, under the name that the sweep imports it by."""

from keras_physreg._utils.student_t import student_t_cdf as student_t_cdf
