using System.Globalization;
using Blkring.Generators.Diagnostics;
using Blkring.Generators.Model;

namespace Blkring.Generators.Layout;

/// <summary>
/// Defines the entries of a ring from its request and response, as DEFINE_RING_TYPES does, and one decoded form of each
/// message.
/// </summary>
internal sealed class RingCalculator
{
    private static readonly string[] Indexes = ["req_prod", "req_event", "rsp_prod", "rsp_event"];

    private readonly RingSpec _ring;
    private readonly ProtocolSpec _spec;
    private readonly TypeTable _types;
    private readonly EquatableArray<AbiLayout> _abis;
    private readonly LayoutProblems _problems;
    private bool _sound = true;

    private RingCalculator(
        RingSpec ring,
        ProtocolSpec spec,
        TypeTable types,
        EquatableArray<AbiLayout> abis,
        LayoutProblems problems
    )
    {
        _ring = ring;
        _spec = spec;
        _types = types;
        _abis = abis;
        _problems = problems;
    }

    /// <summary>Null when the ring cannot be generated; <paramref name="problems"/> then has the reason.</summary>
    public static RingLayout? Calculate(
        RingSpec ring,
        ProtocolSpec spec,
        TypeTable types,
        EquatableArray<AbiLayout> abis,
        LayoutProblems problems
    )
    {
        var calculator = new RingCalculator(ring, spec, types, abis, problems);
        return calculator.Calculate();
    }

    private RingLayout? Calculate()
    {
        CheckStructs();
        if (!_sound)
            return null;
        CheckHeader();
        CheckVariants();
        if (!_sound)
            return null;

        EquatableArray<RingAbiLayout> abis = _abis.Select(Entries).ToEquatableArray();
        CheckGeometry(abis);
        string prefix = RingNames.Prefix(_ring, _spec.Name);
        MessageLayout request = Merge(
            RingNames.Request(prefix),
            [.. _ring.Variants.Select(v => v.Struct).Prepend(_ring.Request)]
        );
        MessageLayout response = Merge(RingNames.Response(prefix), [_ring.Response]);
        return !_sound
            ? null
            : new RingLayout(_ring.Name, prefix, _ring.Doc, Find(_abis[0], _ring.Header), request, response, abis);
    }

    private void CheckStructs()
    {
        CheckStruct(_ring, "header", _ring.Header);
        CheckStruct(_ring, "request", _ring.Request);
        CheckStruct(_ring, "response", _ring.Response);
        foreach (VariantSpec variant in _ring.Variants)
            CheckStruct(variant, "struct", variant.Struct);

        void CheckStruct(object part, string attribute, string name)
        {
            if (_spec.Composites.FirstOrDefault(c => c.Name == name && !c.IsUnion) is not { } composite)
                Fail(Descriptors.UnknownStruct, part, attribute, name);
            else if (_spec.Abis.FirstOrDefault(abi => !composite.IsIn(abi.Name)) is { } without)
                Fail(Descriptors.TypeNotInAbi, part, attribute, $"The ring '{_ring.Name}'", name, without.Name);
        }
    }

    private void CheckHeader()
    {
        TypeLayout header = Find(_abis[0], _ring.Header);
        string[] missing =
        [
            .. Indexes.Where(index =>
                !header.Fields.Any(f =>
                    f is { IsArray: false, IsBitField: false, Composite: null, ElementName: "uint", IsInEveryAbi: true }
                    && f.CName == index
                )
            ),
        ];
        if (missing.Length > 0)
            Fail(Descriptors.BadRingHeader, _ring, "header", _ring.Header, string.Join(", ", missing));
        if (!header.IsShared)
            Fail(
                Descriptors.BadRingGeometry,
                _ring,
                "header",
                _ring.Name,
                $"the header {_ring.Header} differs between ABIs; list the same members for all"
            );
    }

    private void CheckVariants()
    {
        var values = new HashSet<decimal>();
        foreach (VariantSpec variant in _ring.Variants)
        {
            FieldLayout? tag = TagOf(_abis[0], _ring.Request, variant.When);
            string? fault =
                variant.When != _ring.Variants[0].When ? $"an earlier variant has when=\"{_ring.Variants[0].When}\""
                : tag is null ? $"the request {_ring.Request} has no such integer member"
                : _abis.Any(abi => !IsSameTag(abi, variant))
                    ? $"it lies elsewhere, or is another type, in {variant.Struct}"
                : null;
            if (fault is not null)
                Fail(Descriptors.BadVariantTag, variant, "when", variant.When, fault);
            else
                CheckValue(variant, tag!, values);
        }
    }

    private void CheckValue(VariantSpec variant, FieldLayout tag, HashSet<decimal> values)
    {
        decimal max = tag.ElementSize == 8 ? ulong.MaxValue : (1UL << (8 * tag.ElementSize)) - 1;
        string? fault =
            _types.Value(variant.Is) is not { } value ? "neither a number nor an integer constant of this spec"
            : value < 0 || value > max
                ? $"outside what {variant.When} holds, 0 to {max.ToString(CultureInfo.InvariantCulture)}"
            : !values.Add(value) ? "another variant has this value"
            : null;
        if (fault is not null)
            Fail(Descriptors.BadVariantValue, variant, "is", variant.Is, fault);
    }

    private bool IsSameTag(AbiLayout abi, VariantSpec variant) =>
        TagOf(abi, _ring.Request, variant.When) is { } request
        && TagOf(abi, variant.Struct, variant.When) is { } other
        && request.Offset == other.Offset
        && request.ElementName == other.ElementName;

    private static FieldLayout? TagOf(AbiLayout abi, string type, string name) =>
        Find(abi, type)
            .Fields.FirstOrDefault(f =>
                f is { IsArray: false, IsBitField: false, Composite: null, IsSigned: false, IsInEveryAbi: true }
                && f.CName == name
            );

    private RingAbiLayout Entries(AbiLayout abi)
    {
        TypeLayout request = Find(abi, _ring.Request);
        TypeLayout response = Find(abi, _ring.Response);
        EquatableArray<VariantLayout> variants = _ring
            .Variants.Select(v => new VariantLayout(v.When, TagValue(v.Is), Find(abi, v.Struct)))
            .ToEquatableArray();
        return new RingAbiLayout(abi.Name, abi.Tag, EntrySize(_ring, abi), request, variants, response);
    }

    /// <summary>The size of the union of all messages.</summary>
    public static int EntrySize(RingSpec ring, AbiLayout abi)
    {
        TypeLayout[] forms =
        [
            .. ring
                .Variants.Select(v => v.Struct)
                .Append(ring.Request)
                .Append(ring.Response)
                .Select(name => Find(abi, name)),
        ];
        return (int)LayoutCursor.RoundUp(forms.Max(f => f.Size), forms.Max(f => f.Alignment));
    }

    private string TagValue(string text) =>
        CNumber.Parse(text) is null
            ? CSharpName.Of(_spec.Constants.First(c => c.Name == text), _spec.Name)
            : _types.Value(text)!.Value.ToString(CultureInfo.InvariantCulture);

    private void CheckGeometry(EquatableArray<RingAbiLayout> abis)
    {
        TypeLayout header = Find(_abis[0], _ring.Header);
        foreach (RingAbiLayout abi in abis)
        {
            int alignment = Math.Max(
                Math.Max(abi.Request.Alignment, abi.Response.Alignment),
                abi.Variants.Select(v => v.Type.Alignment).DefaultIfEmpty(1).Max()
            );
            if (header.Size % alignment != 0)
                Fail(
                    Descriptors.BadRingGeometry,
                    _ring,
                    "header",
                    _ring.Name,
                    $"the header ends at {header.Size}, where C aligns entries to {alignment} in the ABI "
                        + $"{abi.AbiName}; pad the header"
                );
            else if (header.Size + abi.EntrySize > Limits.PageSize)
                Fail(
                    Descriptors.BadRingGeometry,
                    _ring,
                    "request",
                    _ring.Name,
                    $"a page of {Limits.PageSize} bytes has no room for an entry of {abi.EntrySize} bytes in the ABI "
                        + $"{abi.AbiName}; make the messages smaller"
                );
        }
    }

    /// <summary>
    /// The members of all forms by name, each with its largest width. A member that some ABIs lack is padding and is
    /// left out.
    /// </summary>
    private MessageLayout Merge(string message, List<string> structs)
    {
        var fields = new List<MessageField>();
        foreach (string name in structs)
        {
            CompositeSpec source = _spec.Composites.First(c => c.Name == name);
            foreach (FieldLayout field in Find(_abis[0], name).Fields.Where(f => f.IsInEveryAbi))
            {
                MemberSpec member = source.Members.First(m => m.Name == field.CName);
                bool isSame = field.Composite is null || Find(_abis[0], field.Composite).IsShared;
                bool isRaw = !isSame && !field.IsArray && Find(_abis[0], field.Composite!).IsUnion;
                if (!isSame && !isRaw)
                    Fail(Descriptors.NestedDiffers, member, "type", member.Name, name, member.Type);
                Add(fields, isRaw ? Raw(field, message) : field, member, name, isRaw);
            }
        }
        return new MessageLayout(fields.ToEquatableArray());
    }

    /// <summary>
    /// Only the receiver of a message knows which member of a union is valid. It gets all bytes, as many as the largest
    /// ABI needs.
    /// </summary>
    private FieldLayout Raw(FieldLayout union, string message) =>
        union with
        {
            CType = "uint8_t",
            Composite = null,
            ElementName = "byte",
            ElementSize = 1,
            Count = _abis.Max(abi => Find(abi, union.Composite!).Size),
            ArrayName = $"{message}.{TypeNames.Bytes(union.Name)}",
        };

    private void Add(List<MessageField> fields, FieldLayout field, MemberSpec member, string owner, bool isRaw)
    {
        if (fields.FirstOrDefault(f => f.IsRaw && TypeNames.Bytes(f.Name) == field.Name) is { } bytes)
            Fail(
                Descriptors.NameCollision,
                member,
                "name",
                field.CName,
                field.Name,
                $"the type of the bytes of {bytes.Field.CName}"
            );
        int at = fields.FindIndex(f => f.Name == field.Name);
        if (at < 0)
        {
            fields.Add(new MessageField(field, owner, isRaw));
            return;
        }
        FieldLayout earlier = fields[at].Field;
        if (earlier.CName != field.CName)
            Fail(
                Descriptors.NameCollision,
                member,
                "name",
                field.CName,
                field.Name,
                $"the C# name of {earlier.CName} in {fields[at].CStructs}"
            );
        else if (Shape(earlier) != Shape(field) || (field.IsArray && earlier.ElementName != field.ElementName))
            Fail(Descriptors.MessageConflict, member, "name", field.CName, Shape(field), Shape(earlier));
        else
            fields[at] = new MessageField(
                field.ElementSize > earlier.ElementSize ? field : earlier,
                $"{fields[at].CStructs}, {owner}",
                isRaw
            );
    }

    /// <summary>The properties that all forms of a message share; integers may differ in width.</summary>
    private static string Shape(FieldLayout field)
    {
        string element = field.Composite ?? (field.IsSigned ? "a signed integer" : "an unsigned integer");
        return field.IsArray ? $"an array of {field.Count} {field.Composite ?? field.CType}" : element;
    }

    private static TypeLayout Find(AbiLayout abi, string name) => abi.Types.First(t => t.CName == name);

    private void Fail(
        Microsoft.CodeAnalysis.DiagnosticDescriptor descriptor,
        object part,
        string attribute,
        params string[] arguments
    )
    {
        _sound = false;
        _problems.Add(descriptor, part, attribute, arguments);
    }
}
