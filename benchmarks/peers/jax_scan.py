"""JAX: lax.scan over the time steps, one jitted function per update, Adam by hand."""

import time

import jax
import jax.numpy as jnp

NAME = "JAX, best unroll"

# The time steps per iteration of lax.scan that are tried; the fastest one is measured.
UNROLLS = (1, 2, 4, 8)


def rnn_step(parameters, h, x):
    """One time step of the BasicRNN."""
    kernel, bias = parameters["cell"]
    return jnp.tanh(jnp.concatenate([x, h], 1) @ kernel[0] + bias[0])


def lstm_step(parameters, state, x):
    """One time step of the LSTM."""
    kernel, bias = parameters["cell"]
    c, h = state
    z = jnp.concatenate([x, h], 1) @ kernel[0] + bias[0]
    i, j, f, o = jnp.split(z, 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(j)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def gru_step(parameters, h, x):
    """One time step of TF1's GRU."""
    kernel, bias = parameters["cell"]
    z = jnp.concatenate([x, h], 1) @ kernel[0] + bias[0]
    r, u = jnp.split(jax.nn.sigmoid(z), 2, axis=1)
    c = jnp.tanh(jnp.concatenate([x, r * h], 1) @ kernel[1] + bias[1])
    return u * h + (1 - u) * c


STEPS = {"rnn": rnn_step, "lstm": lstm_step, "gru": gru_step}


class Peer:
    """Trains on the task's batches in turn.

    The first update is done without unrolling. The first turn, which is a warm-up,
    chooses what is fastest.
    """

    def __init__(self, task):
        self.task = task
        self.turns = 0
        kernel, bias = task.gates()
        groups = {"gru": [[0, 1], [2]]}.get(task.cell, [list(range(len(kernel)))])
        join = jnp.concatenate
        self.parameters = {
            "cell": (
                [join([kernel[i] for i in group], 1) for group in groups],
                [join([bias[i] for i in group]) for group in groups],
            ),
            "readout": tuple(jnp.asarray(array) for array in task.readout),
        }
        moments = [jax.tree.map(jnp.zeros_like, self.parameters) for _ in range(2)]
        self.slots = (jnp.zeros(()), *moments)
        self.batches = task.batches
        self.update = self._compile(UNROLLS[0])
        self.compute_logits = jax.jit(self._make_logits(task.cell, task.num_units, 1))

    def _compile(self, unroll):
        """Makes the update; JAX compiles it when it is called."""
        task = self.task
        update = self._make_update(
            task.cell, task.num_units, task.learning_rate, unroll
        )
        return jax.jit(update, donate_argnums=(0, 1))

    def _choose_update(self):
        """Takes the fastest of `UNROLLS`, each compiled and then timed."""
        seconds = {}
        for unroll in UNROLLS:
            self.update = self._compile(unroll)
            self._train(1)
            started = time.perf_counter()
            self._train(2)
            seconds[self.update] = time.perf_counter() - started
        self.update = min(seconds, key=seconds.get)

    @staticmethod
    def _make_logits(cell, num_units, unroll):
        def compute_logits(parameters, inputs):
            zeros = jnp.zeros([len(inputs), num_units])

            def body(state, x):
                return STEPS[cell](parameters, state, x), None

            start = (zeros, zeros) if cell == "lstm" else zeros
            steps = jnp.swapaxes(inputs, 0, 1)
            state, _ = jax.lax.scan(body, start, steps, unroll=unroll)
            h = state[1] if cell == "lstm" else state
            kernel, bias = parameters["readout"]
            return h @ kernel + bias

        return compute_logits

    @classmethod
    def _make_update(
        cls, cell, num_units, learning_rate, unroll, beta1=0.9, beta2=0.999
    ):
        compute_logits = cls._make_logits(cell, num_units, unroll)

        def compute_loss(parameters, inputs, labels):
            log_probabilities = jax.nn.log_softmax(compute_logits(parameters, inputs))
            chosen = jnp.take_along_axis(log_probabilities, labels[:, None], 1)
            return -jnp.mean(chosen)

        def update(parameters, slots, inputs, labels):
            loss, gradients = jax.value_and_grad(compute_loss)(
                parameters, inputs, labels
            )
            count, m, v = slots
            count = count + 1
            m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, gradients)
            v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, gradients)
            rate = learning_rate * jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
            parameters = jax.tree.map(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), parameters, m, v
            )
            return parameters, (count, m, v), loss

        return update

    def train(self, num_steps):
        """Does `num_steps` updates; returns the first one's loss."""
        self.turns += 1
        if self.turns == 2:
            self._choose_update()
        return self._train(num_steps)

    def logits(self, inputs):
        """The logits of all images, `[num_images, 10]`."""
        return self.compute_logits(self.parameters, inputs)

    def _train(self, num_steps):
        """See `train`."""
        for step in range(num_steps):
            inputs, labels = self.batches[step % len(self.batches)]
            self.parameters, self.slots, loss = self.update(
                self.parameters, self.slots, inputs, labels
            )
            if step == 0:
                first = loss
        jax.block_until_ready(self.parameters)
        return float(first)
