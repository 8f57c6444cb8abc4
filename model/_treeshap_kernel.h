/*
 * One pass over one block of trees, for one instruction set and one number of points.
 *
 * Included several times by _treeshap.c, which states the formula. Before each inclusion:
 *
 *     KERNEL   name of the function to define
 *     TARGET   function attribute that selects the instruction set, or nothing
 *     VEC      vector of doubles
 *     VECS     how many of them hold the points: a number, or an expression in `points`
 */

#define AT(base, offset) ((VEC *)((char *)(base) + (offset)))
#define SLOT(number) AT(slots, (size_t)(number) * (size_t)(VECS) * sizeof(VEC))

TARGET static void
KERNEL(const Block *block, const double *restrict row, double *restrict slots, double *restrict sums,
       uint8_t *restrict right, uint8_t *restrict agrees, int points)
{
    (void)points;
    const uint32_t n_branches = block->n_branches;
    const uint32_t n_nodes = n_branches + block->n_twigs;
    const double *restrict factors = block->factors;
    const uint32_t dead = block->dead_factor;
    uint32_t *restrict factor_of = block->factor_of;

    for (uint32_t i = 0; i < n_nodes; i++) {
        right[i] = !(row[block->column[i]] <= block->threshold[i]);
    }

    /* Choose the factor of each node whose feature has split above: its own, or the dead one. */
    agrees[0] = 1;
    for (uint32_t i = 0; i < block->n_repeats; i++) {
        const Repeat *repeat = &block->repeats[i];
        const uint32_t agree = agrees[repeat->above_repeat] & (right[repeat->above] == repeat->above_side);
        agrees[i + 1] = (uint8_t)agree;
        /* A mask: no processor could predict the branch. */
        factor_of[repeat->node] = dead ^ ((repeat->factor ^ dead) & (0u - agree));
    }

    for (uint32_t i = 0; i < block->n_roots; i++) {
        for (int k = 0; k < VECS; k++) {
            SLOT(block->roots[i])[k] = (VEC){0} + 1.0;
        }
    }

    /* Downwards: G of both children from G of the node. */
    for (uint32_t i = 0; i < n_branches; i++) {
        const BranchSide *side = &block->branches[i].side[right[i]];
        const VEC *v = AT(factors, factor_of[i]);
        const VEC *g = SLOT(i);
        VEC *hot = AT(slots, side->hot), *cold = AT(slots, side->cold);
        for (int k = 0; k < VECS; k++) {
            const VEC g_node = g[k];
            const VEC g_cold = side->cold_share * v[k] * g_node;
            cold[k] = g_cold;
            hot[k] = g_node - g_cold;
        }
    }

    /* Nodes with two leaves: both directions at once. */
    const Twig *twig = block->twigs;
    for (uint32_t i = n_branches; i < n_nodes; i++, twig++) {
        const TwigSide *side = &twig->side[right[i]];
        const VEC *v = AT(factors, factor_of[i]);
        VEC *slot = SLOT(i), *sum = AT(sums, block->sum_of[i]);
        for (int k = 0; k < VECS; k++) {
            const VEC drop = v[k] * side->cold_drop;
            sum[k] += (slot[k] * v[k + VECS]) * drop;
            slot[k] = side->hot_leaf - drop;
        }
    }

    for (uint32_t i = 0; i < block->n_leaves; i++) {
        for (int k = 0; k < VECS; k++) {
            SLOT(n_nodes + i)[k] = (VEC){0} + block->leaves[i];
        }
    }

    /* Upwards: U takes the place of G, which has had its last use. */
    for (uint32_t i = n_branches; i-- > 0;) {
        const BranchSide *side = &block->branches[i].side[right[i]];
        const VEC *v = AT(factors, factor_of[i]);
        const VEC *hot = AT(slots, side->hot), *cold = AT(slots, side->cold);
        VEC *slot = SLOT(i), *sum = AT(sums, block->sum_of[i]);
        for (int k = 0; k < VECS; k++) {
            const VEC u_hot = hot[k];
            const VEC drop = v[k] * (side->cold_share * (u_hot - cold[k]));
            sum[k] += (slot[k] * v[k + VECS]) * drop;
            slot[k] = u_hot - drop;
        }
    }
}

#undef SLOT
#undef AT
#undef KERNEL
#undef TARGET
#undef VEC
#undef VECS
