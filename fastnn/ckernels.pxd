# The compiled kernels for other Cython modules, without a header and without linking:
#
#     from fastnn cimport ckernels
#     ckernels.linear_forward(&out[0, 0], &W[0, 0], &X[0, 0], &b[0], ckernels.RELU, n_out, n_in, m, 1)
#
# _core.pxd says what each function does, and the memory layout of the arrays.
from fastnn._core cimport *
from fastnn._core cimport (
    c_activation_backward as activation_backward,
    c_activation_forward as activation_forward,
    c_adam_update as adam_update,
    c_linear_backward as linear_backward,
    c_linear_forward as linear_forward,
    c_loss_and_gradient as loss_and_gradient,
    c_predict as predict,
    c_predictor_handle as predictor_handle,
    c_rowsum as rowsum,
    c_sgd_update as sgd_update,
)
