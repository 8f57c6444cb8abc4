/*
 * From LightGBM's flat tree arrays to the blocks of _treeshap.c: every array is checked first, then laid out.
 *
 * Included once by _treeshap.c, which describes the layout. Runs only while an explainer is made.
 */

/* ------------------------------------------------------------------------------------------ checking the trees */

/* The model as the caller gave it: trees one after the other; children are numbered within their tree. */
typedef struct {
    const int32_t *num_leaves, *split_feature, *decision_type, *left_child, *right_child;
    const double *threshold, *leaf_value, *leaf_count, *internal_count;
    Py_ssize_t n_trees, n_nodes, n_leaves;
} Trees;

typedef struct {
    int32_t first_node, first_leaf, num_leaves;
    int points;
    uint32_t n_slots;
} TreePlan;

/* What the path above says about one node. */
typedef struct {
    int32_t tree;
    int32_t parent;      /* node, or -1 at the root */
    int32_t above;       /* nearest node above that splits on the same feature, or -1 */
    int32_t distinct;    /* different features on the path, this node's included */
    int32_t depth;       /* 1 at the root; 0: not met yet */
    int side;            /* of the parent: 0 left, 1 right */
    int above_side;
    double above_share;  /* z: the share of the feature's factor up to here */
} Walk;

typedef struct {
    Trees trees;
    int n_features;
    TreePlan *plans;        /* per tree */
    Walk *walks;            /* per node */
    uint8_t *seen_leaf;     /* per leaf */
    int32_t *queue;         /* nodes, breadth first: of one tree while it is checked, later of one block */
    uint16_t *slot;         /* per node: its slot in its block */
    uint16_t *repeat;       /* per node: 1 + its number among the block's repeats, or 0 */
    int32_t *column_of;     /* per feature and decision type, or -1 */
    int32_t *order;         /* trees that split, by the points they need */
    int32_t n_order;
    Piece *pool;
} Plan;

static int32_t
child_of(const Trees *trees, int32_t node, int side)
{
    return side ? trees->right_child[node] : trees->left_child[node];
}

static int
is_twig(const Trees *trees, int32_t node)
{
    return trees->left_child[node] < 0 && trees->right_child[node] < 0;
}

static double
cover_of_child(const Plan *plan, int32_t node, int side)
{
    const TreePlan *tree = &plan->plans[plan->walks[node].tree];
    const int32_t child = child_of(&plan->trees, node, side);
    return child < 0 ? plan->trees.leaf_count[tree->first_leaf + ~child]
                     : plan->trees.internal_count[tree->first_node + child];
}

static double
share_of_child(const Plan *plan, int32_t node, int side)
{
    return cover_of_child(plan, node, side) / plan->trees.internal_count[node];
}

static const char *
check_node(const Plan *plan, int32_t node)
{
    const Trees *trees = &plan->trees;
    const int32_t decision = trees->decision_type[node];
    const double cover = trees->internal_count[node];
    if (trees->split_feature[node] < 0 || trees->split_feature[node] >= plan->n_features) {
        return "a split feature is out of range";
    }
    if (decision < 0 || decision >= DECISION_KINDS || (decision & CATEGORICAL_BIT)) {
        return "a decision type is not numerical";
    }
    if (isnan(trees->threshold[node])) {
        return "a threshold is NaN";
    }
    if (!(cover > 0.0) || !isfinite(cover)) {
        return "a node has no cover, so the expectation below it is undefined";
    }
    if (plan->walks[node].depth > MAX_DEPTH) {
        return "deeper than this kernel allows";
    }
    return NULL;
}

static const char *
check_leaf(const Plan *plan, int32_t leaf)
{
    const double cover = plan->trees.leaf_count[leaf];
    if (!isfinite(plan->trees.leaf_value[leaf])) {
        return "a leaf value is not finite";
    }
    if (!(cover >= 0.0) || !isfinite(cover)) {
        return "a leaf has no valid cover";
    }
    return NULL;
}

static const char *
meet_leaf(const Plan *plan, const TreePlan *tree, int32_t number)
{
    if (number >= tree->num_leaves || plan->seen_leaf[tree->first_leaf + number]) {
        return "a leaf is out of range or has two parents";
    }
    plan->seen_leaf[tree->first_leaf + number] = 1;
    return check_leaf(plan, tree->first_leaf + number);
}

static const char *
meet_node(const Plan *plan, const TreePlan *tree, int32_t number, int32_t parent, int side)
{
    if (number == 0 || number >= tree->num_leaves - 1 || plan->walks[tree->first_node + number].depth) {
        return "a node is out of range or has two parents";
    }
    Walk *walk = &plan->walks[tree->first_node + number];
    walk->tree = plan->walks[parent].tree;
    walk->parent = parent;
    walk->side = side;
    walk->depth = plan->walks[parent].depth + 1;
    return NULL;
}

/* Meets both children of a node and appends those that split to the queue. */
static const char *
meet_children(const Plan *plan, const TreePlan *tree, int32_t node, int32_t *queued)
{
    for (int side = 0; side < 2; side++) {
        const int32_t child = child_of(&plan->trees, node, side);
        const char *fault = child < 0 ? meet_leaf(plan, tree, ~child) : meet_node(plan, tree, child, node, side);
        if (fault != NULL) {
            return fault;
        }
        if (child >= 0) {
            plan->queue[(*queued)++] = tree->first_node + child;
        }
    }
    return cover_of_child(plan, node, 0) + cover_of_child(plan, node, 1) == plan->trees.internal_count[node]
               ? NULL
               : "the covers of two children do not add up to their parent's";
}

/* Finds the nearest node above that splits on the same feature. */
static void
walk_up(const Plan *plan, int32_t node)
{
    Walk *walk = &plan->walks[node];
    const int32_t feature = plan->trees.split_feature[node];
    int side = walk->side;
    int32_t above = walk->parent;
    while (above >= 0 && plan->trees.split_feature[above] != feature) {
        side = plan->walks[above].side;
        above = plan->walks[above].parent;
    }
    walk->above = above;
    walk->above_side = above < 0 ? 0 : side;
    walk->above_share = above < 0 ? 1.0 : plan->walks[above].above_share * share_of_child(plan, above, side);
    walk->distinct = (walk->parent < 0 ? 0 : plan->walks[walk->parent].distinct) + (above < 0);
}

static int
points_for(int32_t distinct)
{
    const int points = (int)(distinct + 1) / 2;
    return points <= 4 ? 4 : (points + 7) / 8 * 8;
}

/* Checks a tree from its root; every node and leaf must be met exactly once. */
static const char *
check_tree(const Plan *plan, TreePlan *tree)
{
    int32_t queued = 1;
    plan->queue[0] = tree->first_node;
    for (int32_t i = 0; i < queued; i++) {
        const int32_t node = plan->queue[i];
        const char *fault = check_node(plan, node);
        if (fault == NULL) {
            fault = meet_children(plan, tree, node, &queued);
        }
        if (fault != NULL) {
            return fault;
        }
        walk_up(plan, node);
        const int points = points_for(plan->walks[node].distinct);
        tree->points = points > tree->points ? points : tree->points;
        tree->n_slots += is_twig(&plan->trees, node) ? 1 : 1 + (uint32_t)(child_of(&plan->trees, node, 0) < 0) +
                                                               (uint32_t)(child_of(&plan->trees, node, 1) < 0);
    }
    /* Nodes met once each and one leaf more than nodes: then every leaf has been met too. */
    if (queued != tree->num_leaves - 1) {
        return "a node cannot be reached";
    }
    return tree->points > MAX_POINTS || tree->n_slots > MAX_INDEX / 2 ? "larger than this kernel allows" : NULL;
}

static const char *
check_stump(const Plan *plan, const TreePlan *tree)
{
    return isfinite(plan->trees.leaf_value[tree->first_leaf]) ? NULL : "a leaf value is not finite";
}

static int
check_trees(const Plan *plan)
{
    int32_t node = 0, leaf = 0;
    for (Py_ssize_t t = 0; t < plan->trees.n_trees; t++) {
        TreePlan *tree = &plan->plans[t];
        *tree = (TreePlan){.first_node = node, .first_leaf = leaf, .num_leaves = plan->trees.num_leaves[t]};
        if (tree->num_leaves > 1) {
            plan->walks[node] = (Walk){.tree = (int32_t)t, .parent = -1, .depth = 1};
        }
        const char *fault = tree->num_leaves > 1 ? check_tree(plan, tree) : check_stump(plan, tree);
        if (fault != NULL) {
            PyErr_Format(PyExc_ValueError, "tree %zd: %s", t, fault);
            return -1;
        }
        node += tree->num_leaves - 1;
        leaf += tree->num_leaves;
    }
    return 0;
}

static double
expected_value(const Plan *plan, const TreePlan *tree)
{
    const double *value = plan->trees.leaf_value + tree->first_leaf;
    const double *count = plan->trees.leaf_count + tree->first_leaf;
    double expected = 0.0;
    if (tree->num_leaves == 1) {
        return value[0];
    }
    for (int32_t i = 0; i < tree->num_leaves; i++) {
        expected += count[i] / plan->trees.internal_count[tree->first_node] * value[i];
    }
    return expected;
}

/* ---------------------------------------------------------------------------------------- building the layout */

/* Gauss-Legendre points on [0, 1] by Newton's method on the Legendre polynomial; `far` is 1 - y. */
static void
quadrature(int n, double *y, double *far, double *weight)
{
    for (int i = 0; i < n; i++) {
        double x = cos(3.14159265358979324 * (i + 0.75) / (n + 0.5));
        double slope = 1.0;
        for (int step = 0; step < 8; step++) {
            double p = 1.0, before = 0.0;
            for (int j = 1; j <= n; j++) {
                const double next = ((2 * j - 1) * x * p - (j - 1) * before) / j;
                before = p;
                p = next;
            }
            slope = n * (before - x * p) / ((1.0 - x) * (1.0 + x));
            x -= p / slope;
        }
        y[i] = (1.0 - x) / 2.0;
        far[i] = (1.0 + x) / 2.0;
        weight[i] = 1.0 / ((1.0 - x) * (1.0 + x) * slope * slope);
    }
}

typedef struct {
    Explainer *self;
    const Plan *plan;
    int points;
    double y[MAX_POINTS], far[MAX_POINTS];
} Builder;

static void
start_group(Builder *builder, int points)
{
    const InstructionSet *set = builder->self->instruction_set;
    Group *group = &builder->self->groups[builder->self->n_groups++];
    double weight[MAX_POINTS];
    quadrature(points, builder->y, builder->far, weight);
    builder->points = points;
    group->points = points;
    group->kernel = points == 4 ? set->four : points == 8 ? set->eight : set->any;
    group->first_block = builder->self->n_blocks;
    for (int k = 0; k < points; k++) {
        group->weight[k] = weight[k] / (builder->far[k] * builder->far[k]);
    }
}

static size_t
slot_bytes(const Builder *builder)
{
    return (size_t)builder->points * sizeof(double);
}

static uint32_t
factor_offset(const Builder *builder, uint32_t number)
{
    return number * 2 * (uint32_t)slot_bytes(builder);
}

/* Writes v = z (1 - y) / (y + z (1 - y)) and v / z. */
static void
put_factor(const Builder *builder, const Block *block, uint32_t number, double z)
{
    double *v = block->factors + (size_t)number * 2 * (size_t)builder->points;
    for (int k = 0; k < builder->points; k++) {
        const double f = builder->y[k] + z * builder->far[k];
        v[k] = z * builder->far[k] / f;
        v[k + builder->points] = builder->far[k] / f;
    }
}

static void
put_dead_factor(const Builder *builder, Block *block)
{
    block->dead_factor = factor_offset(builder, DEAD_FACTOR);
    for (int k = 0; k < builder->points; k++) {
        block->factors[DEAD_FACTOR * 2 * builder->points + k] = 1.0;
    }
}

/* Queues the nodes of a block's trees, breadth first over all of them, gives each its slot and counts. */
static void
number_slots(const Plan *plan, int32_t first, int32_t n_trees, Block *block)
{
    int32_t queued = 0;
    for (int32_t i = first; i < first + n_trees; i++) {
        plan->queue[queued++] = plan->plans[plan->order[i]].first_node;
    }
    for (int32_t i = 0; i < queued; i++) {
        const int32_t node = plan->queue[i];
        const int32_t first_node = plan->plans[plan->walks[node].tree].first_node;
        const int twig = is_twig(&plan->trees, node);
        for (int side = 0; side < 2; side++) {
            const int32_t child = child_of(&plan->trees, node, side);
            if (child >= 0) {
                plan->queue[queued++] = first_node + child;
            }
            block->n_leaves += child < 0 && !twig;
        }
        plan->slot[node] = (uint16_t)(twig ? block->n_twigs++ : block->n_branches++);
        block->n_repeats += plan->walks[node].above >= 0;
    }
    for (int32_t i = 0; i < queued; i++) {
        if (is_twig(&plan->trees, plan->queue[i])) {
            plan->slot[plan->queue[i]] = (uint16_t)(plan->slot[plan->queue[i]] + block->n_branches);
        }
    }
    block->n_roots = (uint32_t)n_trees;
}

static int
take_block(Builder *builder, Block *block)
{
    Piece **pool = &builder->self->pool;
    const size_t n_nodes = (size_t)block->n_branches + block->n_twigs;
    const size_t n_factors = FIRST_REPEAT_FACTOR + (size_t)block->n_repeats;
    block->threshold = take(pool, n_nodes, sizeof(double));
    block->column = take(pool, n_nodes, sizeof(uint16_t));
    block->factor_of = take(pool, n_nodes, sizeof(uint32_t));
    block->sum_of = take(pool, n_nodes, sizeof(uint32_t));
    block->branches = take(pool, block->n_branches, sizeof(Branch));
    block->twigs = take(pool, block->n_twigs, sizeof(Twig));
    block->repeats = take(pool, block->n_repeats, sizeof(Repeat));
    block->leaves = take(pool, block->n_leaves, sizeof(double));
    block->factors = take(pool, n_factors, 2 * slot_bytes(builder));
    block->roots = take(pool, block->n_roots, sizeof(uint16_t));
    return PyErr_Occurred() ? -1 : 0;
}

static void
put_repeat(const Builder *builder, const Block *block, int32_t node, uint16_t *repeats)
{
    const Plan *plan = builder->plan;
    const Walk *walk = &plan->walks[node];
    const uint32_t factor = FIRST_REPEAT_FACTOR + (uint32_t)*repeats;
    block->repeats[*repeats] = (Repeat){
        .factor = factor_offset(builder, factor),
        .node = plan->slot[node],
        .above = plan->slot[walk->above],
        .above_side = (uint16_t)walk->above_side,
        .above_repeat = plan->repeat[walk->above],
    };
    plan->repeat[node] = ++*repeats;
    put_factor(builder, block, factor, walk->above_share);
}

/* The leaf's own slot, or the slot of the node. */
static uint32_t
put_child(const Builder *builder, const Block *block, int32_t node, int side, uint32_t *leaves)
{
    const Plan *plan = builder->plan;
    const TreePlan *tree = &plan->plans[plan->walks[node].tree];
    const int32_t child = child_of(&plan->trees, node, side);
    if (child >= 0) {
        return plan->slot[tree->first_node + child] * (uint32_t)slot_bytes(builder);
    }
    block->leaves[*leaves] = plan->trees.leaf_value[tree->first_leaf + ~child];
    return (block->n_branches + block->n_twigs + (*leaves)++) * (uint32_t)slot_bytes(builder);
}

static void
put_branch(const Builder *builder, const Block *block, int32_t node, uint32_t *leaves)
{
    const Plan *plan = builder->plan;
    const uint32_t child[2] = {put_child(builder, block, node, 0, leaves), put_child(builder, block, node, 1, leaves)};
    for (int hot = 0; hot < 2; hot++) {
        block->branches[plan->slot[node]].side[hot] = (BranchSide){
            .cold_share = share_of_child(plan, node, !hot),
            .hot = child[hot],
            .cold = child[!hot],
        };
    }
}

static void
put_twig(const Plan *plan, const Block *block, int32_t node)
{
    const double *value = plan->trees.leaf_value + plan->plans[plan->walks[node].tree].first_leaf;
    const double leaf[2] = {value[~child_of(&plan->trees, node, 0)], value[~child_of(&plan->trees, node, 1)]};
    for (int hot = 0; hot < 2; hot++) {
        block->twigs[plan->slot[node] - block->n_branches].side[hot] = (TwigSide){
            .cold_drop = share_of_child(plan, node, !hot) * (leaf[hot] - leaf[!hot]),
            .hot_leaf = leaf[hot],
        };
    }
}

static void
put_decision(const Builder *builder, const Block *block, int32_t node)
{
    const Trees *trees = &builder->plan->trees;
    const uint16_t slot = builder->plan->slot[node];
    const int32_t feature = trees->split_feature[node];
    block->threshold[slot] = trees->threshold[node];
    block->column[slot] = (uint16_t)builder->plan->column_of[feature * DECISION_KINDS + trees->decision_type[node]];
    block->factor_of[slot] = factor_offset(builder, FRESH_FACTOR);
    block->sum_of[slot] = (uint32_t)feature * (uint32_t)slot_bytes(builder);
}

static void
fill_block(const Builder *builder, Block *block)
{
    const Plan *plan = builder->plan;
    uint16_t repeats = 0;
    uint32_t leaves = 0;
    put_factor(builder, block, FRESH_FACTOR, 1.0);
    put_dead_factor(builder, block);
    for (uint32_t i = 0; i < block->n_branches + block->n_twigs; i++) {
        const int32_t node = plan->queue[i];
        put_decision(builder, block, node);
        if (plan->walks[node].above >= 0) {
            put_repeat(builder, block, node, &repeats);
        }
        if (is_twig(&plan->trees, node)) {
            put_twig(plan, block, node);
        } else {
            put_branch(builder, block, node, &leaves);
        }
    }
    for (uint32_t i = 0; i < block->n_roots; i++) {
        block->roots[i] = plan->slot[plan->queue[i]];
    }
}

/* How many trees from `first` on go into one block. */
static int32_t
trees_of_block(const Plan *plan, int32_t first)
{
    const int points = plan->plans[plan->order[first]].points;
    const uint32_t room = BLOCK_BYTES / (uint32_t)(points * (int)sizeof(double));
    uint32_t slots = 0;
    int32_t i = first;
    for (; i < plan->n_order && plan->plans[plan->order[i]].points == points; i++) {
        slots += plan->plans[plan->order[i]].n_slots;
        if (i > first && slots > room) {
            break;
        }
    }
    return i - first;
}

static void
order_trees(Plan *plan)
{
    for (int points = 4; points <= MAX_POINTS; points += 4) {
        for (Py_ssize_t t = 0; t < plan->trees.n_trees; t++) {
            if (plan->plans[t].points == points) {
                plan->order[plan->n_order++] = (int32_t)t;
            }
        }
    }
}

typedef struct {
    size_t slots, nodes, repeats;
} Most;

static size_t
larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int
add_block(Builder *builder, int32_t first, int32_t n_trees, Most *most)
{
    Explainer *self = builder->self;
    Block *block = &self->blocks[self->n_blocks++];
    number_slots(builder->plan, first, n_trees, block);
    if (take_block(builder, block) < 0) {
        return -1;
    }
    fill_block(builder, block);
    const size_t nodes = (size_t)block->n_branches + block->n_twigs;
    self->groups[self->n_groups - 1].n_blocks++;
    most->slots = larger(most->slots, (nodes + block->n_leaves) * (size_t)builder->points);
    most->nodes = larger(most->nodes, nodes);
    most->repeats = larger(most->repeats, block->n_repeats);
    return 0;
}

static int
take_scratch(Explainer *self, const Most *most)
{
    self->slots = take(&self->pool, most->slots, sizeof(double));
    self->sums = take(&self->pool, (size_t)self->n_features * (size_t)self->most_points, sizeof(double));
    self->right = take(&self->pool, most->nodes, sizeof(uint8_t));
    self->agrees = take(&self->pool, most->repeats + 1, sizeof(uint8_t));
    return PyErr_Occurred() ? -1 : 0;
}

static int
build_blocks(Explainer *self, const Plan *plan)
{
    Builder builder = {.self = self, .plan = plan};
    Most most = {0};
    self->groups = take(&self->pool, MAX_POINTS / 8 + 1, sizeof(Group));
    self->blocks = take(&self->pool, (size_t)plan->n_order, sizeof(Block));
    if (PyErr_Occurred()) {
        return -1;
    }
    for (int32_t first = 0; first < plan->n_order;) {
        const int32_t n_trees = trees_of_block(plan, first);
        const int points = plan->plans[plan->order[first]].points;
        if (points != builder.points) {
            start_group(&builder, points);
        }
        if (add_block(&builder, first, n_trees, &most) < 0) {
            return -1;
        }
        first += n_trees;
    }
    self->most_points = builder.points;
    return take_scratch(self, &most);
}

/* Numbers the combinations of feature and decision type that occur. */
static int
build_columns(Explainer *self, const Plan *plan)
{
    for (int32_t key = 0; key < self->n_features * DECISION_KINDS; key++) {
        plan->column_of[key] = -1;
    }
    for (Py_ssize_t node = 0; node < plan->trees.n_nodes; node++) {
        plan->column_of[plan->trees.split_feature[node] * DECISION_KINDS + plan->trees.decision_type[node]] = 0;
    }
    self->columns = take(&self->pool, (size_t)self->n_features * DECISION_KINDS, sizeof(Column));
    self->row = take(&self->pool, (size_t)self->n_features * DECISION_KINDS, sizeof(double));
    if (PyErr_Occurred()) {
        return -1;
    }
    for (int32_t key = 0; key < self->n_features * DECISION_KINDS; key++) {
        if (plan->column_of[key] == 0) {
            const int decision = key % DECISION_KINDS;
            const int missing = decision >> MISSING_SHIFT;
            const double fixed = decision & DEFAULT_LEFT_BIT ? -INFINITY : NAN;
            plan->column_of[key] = (int32_t)self->n_columns;
            self->columns[self->n_columns++] = (Column){
                .feature = key / DECISION_KINDS,
                .if_nan = missing == MISSING_NONE ? 0.0 : fixed,
                .if_zero = missing == MISSING_ZERO ? fixed : 0.0,
            };
        }
    }
    return 0;
}

static int
build(Explainer *self, Plan *plan)
{
    const Trees *trees = &plan->trees;
    plan->plans = take(&plan->pool, (size_t)trees->n_trees, sizeof(TreePlan));
    plan->walks = take(&plan->pool, (size_t)trees->n_nodes, sizeof(Walk));
    plan->seen_leaf = take(&plan->pool, (size_t)trees->n_leaves, sizeof(uint8_t));
    plan->queue = take(&plan->pool, (size_t)trees->n_nodes, sizeof(int32_t));
    plan->slot = take(&plan->pool, (size_t)trees->n_nodes, sizeof(uint16_t));
    plan->repeat = take(&plan->pool, (size_t)trees->n_nodes, sizeof(uint16_t));
    plan->column_of = take(&plan->pool, (size_t)plan->n_features * DECISION_KINDS, sizeof(int32_t));
    plan->order = take(&plan->pool, (size_t)trees->n_trees, sizeof(int32_t));
    if (PyErr_Occurred() || check_trees(plan) < 0) {
        return -1;
    }
    for (Py_ssize_t t = 0; t < trees->n_trees; t++) {
        self->base += expected_value(plan, &plan->plans[t]);
    }
    order_trees(plan);
    return build_columns(self, plan) < 0 || build_blocks(self, plan) < 0 ? -1 : 0;
}
