/* Standardisation: what fnn_read makes of X and Y, and predictions of A. */
#include "network.h"

/* Copies n numbers, or (if `inverts`) 1 / them, to *room, which moves on. Returns the copy; NULL for NULL. */
static const double *put(double **room, const double *from, ptrdiff_t n, int inverts) {
  double *to = *room;
  if (!from) return NULL;
  for (ptrdiff_t i = 0; i < n; i++) to[i] = inverts ? 1 / from[i] : from[i];
  *room += n;
  return to;
}

int fnn_net_standardise(fnn_net *net, const double *x_mean, const double *x_scale, ptrdiff_t targets,
                        const double *y_mean, const double *y_scale, const double *a_scale, const double *a_shift) {
  const ptrdiff_t n_in = net->layer[0].n_in, n_out = fnn_last(net)->n_out;
  if (targets != (y_mean ? fnn_target_rows(&net->loss, n_out) : 0) || !fnn_is_standard(x_mean, x_scale, n_in) ||
      !fnn_is_standard(y_mean, y_scale, targets) || !fnn_is_standard(a_shift, a_scale, n_out))
    return FNN_REFUSED;
  double *room = calloc((size_t)(2 * (n_in + targets + n_out) + fnn_sparse_room(n_in)), sizeof *room);
  if (!room) return FNN_NO_MEMORY;
  free(net->standards);
  net->standards = room;
  net->next_part = 0; /* a step that has begun has read X in the old way */
  net->of_X = (fnn_standard){put(&room, x_mean, n_in, 0), put(&room, x_scale, n_in, 1)};
  net->of_Y = (fnn_standard){put(&room, y_mean, targets, 0), put(&room, y_scale, targets, 1)};
  net->scale = put(&room, a_scale, n_out, 0);
  net->shift = put(&room, a_shift, n_out, 0);
  fnn_standardise_sparse(net, room);
  return FNN_OK;
}
