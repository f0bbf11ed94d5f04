using System.Globalization;
using Blkring.Generators.Model;
using static Blkring.AbiTools.Import.LibClang;

namespace Blkring.AbiTools.Import;

/// <summary>The headers as one target's compiler sees them: types, constants and rings of the headers' own, and what these refer to.</summary>
internal sealed class HeaderReader
{
    private const string EntryUnion = "_sring_entry";
    private const string SharedRing = "_sring";
    private const string Unnamed = "unnamed";
    private const string BitFields = "bits_";

    private readonly HeaderSources _sources;
    private readonly Hints _hints;
    private readonly Dictionary<string, Macro> _typeMacros;
    private readonly IReadOnlyDictionary<string, (decimal Value, string? Text)> _values;
    private readonly HashSet<Place> _macroUses;
    private readonly Dictionary<string, HeaderTypedef> _typedefs = new(StringComparer.Ordinal);
    private readonly List<HeaderType> _types = [];
    private readonly HashSet<string> _typeNames = new(StringComparer.Ordinal);
    private readonly List<HeaderRing> _rings = [];
    private readonly List<HeaderConstant> _constants = [];

    private HeaderReader(
        TranslationUnit unit, HeaderSources sources, Hints hints, IReadOnlyList<Macro> macros,
        IReadOnlyDictionary<string, (decimal Value, string? Text)> values)
    {
        _macroUses = [.. Children(unit.Root).Where(c => c.kind == ClangKind.MacroExpansion).Select(c => TranslationUnit.Expansion(clang_getCursorLocation(c)))];
        _sources = sources;
        _hints = hints;
        _values = values;
        _typeMacros = macros.Where(m => MacroReader.IsTypeName(m) && !values.ContainsKey(m.Name)).ToDictionary(m => m.Name);
    }

    /// <exception cref="HeaderImportException">A struct has no layout that a spec can say.</exception>
    public static HeaderModel Read(
        Target target, TranslationUnit unit, HeaderSources sources, IReadOnlySet<string> files, Hints hints, IReadOnlyList<Macro> macros,
        IReadOnlyDictionary<string, (decimal Value, string? Text)> values)
    {
        var reader = new HeaderReader(unit, sources, hints, macros, values);
        reader.ReadConstants(macros);
        foreach (CXCursor cursor in Children(unit.Root).Where(c => files.Contains(TranslationUnit.Expansion(clang_getCursorLocation(c)).File)))
            reader.ReadDeclaration(cursor);
        return new HeaderModel(target, reader._constants, [.. reader._typedefs.Values], reader._types, reader._rings);
    }

    private void ReadConstants(IReadOnlyList<Macro> macros)
    {
        foreach (Macro macro in macros)
        {
            string header = HeaderNames.Of(macro.At.File);
            if (!_values.TryGetValue(macro.Name, out var value) || !_hints.TakesConstant(macro.Name, header))
                continue;
            bool isHex = macro.Body.Contains("0x", StringComparison.OrdinalIgnoreCase) || macro.Body.Contains("<<", StringComparison.Ordinal);
            int lastLine = macro.At.Line + _sources.Between(macro.At, macro.At with { Offset = macro.At.Offset + macro.Body.Length }).Count(c => c == '\n');
            string doc = _sources.Comments(macro.At.File).Of(macro.Name, macro.At.Line, lastLine);
            _constants.Add(new HeaderConstant(macro.Name, value.Value, value.Text, isHex && value.Value >= 0, null, header, macro.At, doc));
        }
    }

    private void ReadDeclaration(CXCursor cursor)
    {
        if (clang_isCursorDefinition(cursor) == 0)
            return;
        // A struct without a name is read where a typedef or a member gives it one.
        if (cursor.kind is ClangKind.StructDecl or ClangKind.UnionDecl && clang_Cursor_isAnonymous(cursor) == 0)
        {
            if (_hints.TakesType(TagOf(cursor)))
                ReadRecord(cursor);
        }
        else if (cursor.kind == ClangKind.EnumDecl)
            ReadEnum(cursor);
        else if (cursor.kind == ClangKind.TypedefDecl)
            ReadTypedef(cursor);
    }

    /// <summary>A name for an integer; other typedefs name structs, which have tags, or what is not shared.</summary>
    private void ReadTypedef(CXCursor cursor)
    {
        CXType type = clang_getCanonicalType(clang_getCursorType(cursor));
        if (IntegerName(type) is not { } integer || IsWord(type))
            return;
        string name = Text(clang_getCursorSpelling(cursor));
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(cursor));
        Declare(name, integer, HeaderNames.Of(at.File), _sources.Comments(at.File).Of(name, at.Line, at.Line));
    }

    private void ReadEnum(CXCursor cursor)
    {
        string name = clang_Cursor_isAnonymous(cursor) != 0 ? "" : Text(clang_getCursorSpelling(cursor));
        foreach (CXCursor item in Children(cursor).Where(c => c.kind == ClangKind.EnumConstantDecl))
        {
            string constant = Text(clang_getCursorSpelling(item));
            Place at = TranslationUnit.Expansion(clang_getCursorLocation(item));
            string header = HeaderNames.Of(at.File);
            if (_hints.TakesConstant(constant, header))
                _constants.Add(new HeaderConstant(constant, clang_getEnumConstantDeclValue(item), null, false, name, header, at, _sources.Comments(at.File).Of(constant, at.Line, at.Line)));
        }
    }

    /// <summary>The spec's name of a struct or union that has a name; it and all that it holds are read.</summary>
    private string ReadRecord(CXCursor cursor)
    {
        string name = TagOf(cursor);
        // In C a type that only a typedef names is spelt without struct.
        ReadRecord(cursor, name, TypeSpelling(cursor) == name ? name : null, name);
        return name;
    }

    private static string TypeSpelling(CXCursor record) => Text(clang_getTypeSpelling(clang_getCanonicalType(clang_getCursorType(record))));

    private static string TagOf(CXCursor record) => TypeSpelling(record).Split(' ')[^1];

    /// <param name="path">How C names the type; null for its tag, empty when C cannot.</param>
    /// <param name="ownerPath">Where C finds its members.</param>
    private void ReadRecord(CXCursor cursor, string name, string? path, string ownerPath)
    {
        if (_hints.LeavesOut(name) || !_typeNames.Add(name))
            return;
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(cursor));
        CXType type = clang_getCursorType(cursor);
        List<CXCursor> children = Children(cursor);
        List<CXCursor> fields = [.. children.Where(c => c.kind == ClangKind.FieldDecl)];
        bool isMadeByMacro = IsMadeByMacro(cursor);
        if (isMadeByMacro && fields.Any(f => ElementType(clang_getCanonicalType(clang_getCursorType(f))).kind == ClangKind.TypePointer))
            return; // The macros of ring.h also make each side's private variables, which point into its own memory.
        if (isMadeByMacro && name.EndsWith(EntryUnion, StringComparison.Ordinal) && ReadRing(name, fields, at))
            return;
        if (isMadeByMacro && IsSharedRing(name))
            fields.RemoveAll(f => Text(clang_getCursorSpelling(f)) == "ring");

        bool isUnion = cursor.kind == ClangKind.UnionDecl;
        var members = new List<HeaderMember>();
        HashSet<string> named = [.. fields.Select(f => Key(clang_getTypeDeclaration(ElementType(clang_getCanonicalType(clang_getCursorType(f))))))];
        foreach (CXCursor child in children)
        {
            if (child.kind == ClangKind.FieldDecl && clang_Cursor_isBitField(child) != 0)
                AddBits(members, child, name);
            else if (fields.Contains(child))
                members.AddRange(ReadMember(child, name, ownerPath, isUnion, child.Equals(fields[^1])));
            else if (child.kind is ClangKind.StructDecl or ClangKind.UnionDecl && clang_Cursor_isAnonymous(child) != 0 && !named.Contains(Key(child)))
                members.Add(ReadUnnamed(child, type, name, ownerPath, members));
        }
        long align = clang_Type_getAlignOf(type);
        bool isPacked = fields.Any(f => clang_Type_getAlignOf(clang_getCursorType(f)) > align);
        int firstLine = TranslationUnit.Expansion(clang_getRangeStart(clang_getCursorExtent(cursor))).Line;
        string doc = isMadeByMacro ? RingDocs.Of(name) : _sources.Comments(at.File).Of(name, firstLine, firstLine);
        _types.Add(new HeaderType(name, isUnion, path, isPacked ? (int)align : null, HeaderNames.Of(at.File), at, doc, clang_Type_getSizeOf(type), members));
    }

    /// <summary>A struct or union without a name, as a member without a name: C finds its members in its owner. A spec names both.</summary>
    private unsafe HeaderMember ReadUnnamed(CXCursor record, CXType owner, string ownerName, string ownerPath, List<HeaderMember> earlier)
    {
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(record));
        CXCursor[] fields = [.. Children(record).Where(c => c.kind == ClangKind.FieldDecl)];
        if (fields.Length == 0)
            throw new HeaderImportException($"{at}: {ownerName} has a member without a name that has no members of its own");
        int ordinal = earlier.Count(m => m.Name.StartsWith(Unnamed, StringComparison.Ordinal)) + 1;
        string name = ordinal == 1 ? Unnamed : Unnamed + ordinal.ToString(CultureInfo.InvariantCulture);
        string type = $"{ownerName}_{name}";
        ReadRecord(record, type, "", ownerPath);
        string first = Text(clang_getCursorSpelling(fields[0]));
        long offset;
        fixed (byte* text = System.Text.Encoding.UTF8.GetBytes(first + "\0"))
            offset = clang_Type_getOffsetOf(owner, text) / 8;
        return new HeaderMember(name, first, type, null, offset, clang_Type_getSizeOf(clang_getCursorType(record)), false, at, "");
    }

    /// <summary>
    /// A spec has the integer that holds bit fields, and says in words where each lies; the targets are all little-endian and number
    /// bits from the lowest. That the integer is where C has one is proved as for any member, by what follows it.
    /// </summary>
    private static void AddBits(List<HeaderMember> members, CXCursor field, string owner)
    {
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(field));
        string name = Text(clang_getCursorSpelling(field));
        string where = $"{at}: {owner}.{name}";
        CXType type = clang_getCanonicalType(clang_getCursorType(field));
        string integer = IntegerName(type) ?? throw new HeaderImportException($"{where} is a bit field of no integer");
        long unit = 8 * clang_Type_getSizeOf(type);
        long bit = clang_Cursor_getOffsetOfField(field);
        int width = clang_getFieldDeclBitWidth(field);
        if (width == 0)
            return; // It only ends the integer before it.
        if ((bit % unit) + width > unit)
            throw new HeaderImportException($"{where} is a bit field across two integers, which a spec cannot say; declare bytes");

        long offset = bit / unit * (unit / 8);
        string words = string.Create(CultureInfo.InvariantCulture, $"{(name.Length == 0 ? "unused" : name)}: {width} from bit {bit % unit}.");
        if (members.LastOrDefault() is { } last && last.Name.StartsWith(BitFields, StringComparison.Ordinal) && last.Offset == offset && last.Type == integer)
        {
            members[^1] = last with { Doc = $"{last.Doc} {words}" };
            return;
        }
        int ordinal = members.Count(m => m.Name.StartsWith(BitFields, StringComparison.Ordinal)) + 1;
        string holder = BitFields + ordinal.ToString(CultureInfo.InvariantCulture);
        members.Add(new HeaderMember(holder, holder, integer, null, offset, unit / 8, false, at, $"Bit fields. {words}"));
    }

    private static string Key(CXCursor cursor) => TranslationUnit.Spelling(clang_getCursorLocation(cursor)).ToString() + ":" + TranslationUnit.Spelling(clang_getCursorLocation(cursor)).Column.ToString(CultureInfo.InvariantCulture);

    /// <summary>DEFINE_RING_TYPES makes the union of a request and a response; false when this is another union of such a name.</summary>
    private bool ReadRing(string entry, List<CXCursor> fields, Place at)
    {
        CXCursor[] requests = [.. fields.Where(f => Text(clang_getCursorSpelling(f)) == "req")];
        CXCursor[] responses = [.. fields.Where(f => Text(clang_getCursorSpelling(f)) == "rsp")];
        if (requests.Length != 1 || responses.Length != 1 || fields.Count != 2)
            return false;
        string name = entry[..^EntryUnion.Length];
        _rings.Add(new HeaderRing(name, name + SharedRing, Message(requests[0]), Message(responses[0])));
        return true;

        string Message(CXCursor field)
        {
            CXType type = clang_getCanonicalType(clang_getCursorType(field));
            return type.kind == ClangKind.TypeRecord
                ? ReadRecord(clang_getTypeDeclaration(type))
                : throw new HeaderImportException($"{at}: the messages of the ring {name} are not structs");
        }
    }

    private bool IsSharedRing(string name) =>
        name.EndsWith(SharedRing, StringComparison.Ordinal) && _rings.Any(r => r.Header == name);

    private IEnumerable<HeaderMember> ReadMember(CXCursor field, string owner, string ownerPath, bool ownerIsUnion, bool isLast)
    {
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(field));
        string name = Text(clang_getCursorSpelling(field));
        string where = $"{at}: {owner}.{name}";
        CXType type = clang_getCanonicalType(clang_getCursorType(field));
        bool isTail = type.kind == ClangKind.TypeIncompleteArray || (type.kind == ClangKind.TypeConstantArray && clang_getArraySize(type) == 0);
        if (isTail && (ownerIsUnion || !isLast))
            throw new HeaderImportException($"{where} is an array without a length that is not the last member of a struct");
        CXType element = ElementType(type);
        long size = isTail ? 0 : clang_Type_getSizeOf(type);
        // An array of arrays is one of all their elements.
        string? count = type.kind == ClangKind.TypeConstantArray && !isTail ? Count(field, size / clang_Type_getSizeOf(element)) : isTail ? "0" : null;
        long offset = clang_Cursor_getOffsetOfField(field) / 8;
        string doc = IsMadeByMacro(field) ? RingDocs.Of(name) : Doc(field, name, at);
        if (IsPrivatePartOfRing(owner, element))
            return PrivatePart(field, name, offset, at);
        string typeName = TypeName(field, element, owner, ownerPath, name, where);
        return [new HeaderMember(name, name, typeName, count, offset, size, isTail, at, doc)];
    }

    private string Doc(CXCursor field, string name, Place at)
    {
        CXSourceRange range = clang_getCursorExtent(field);
        return _sources.Comments(at.File).Of(name, TranslationUnit.Expansion(clang_getRangeStart(range)).Line, TranslationUnit.Expansion(clang_getRangeEnd(range)).Line);
    }

    /// <summary>A shared ring's header has a union of what some protocols keep there; a spec has its bytes.</summary>
    private bool IsPrivatePartOfRing(string owner, CXType element) => element.kind == ClangKind.TypeRecord && IsSharedRing(owner);

    private static IEnumerable<HeaderMember> PrivatePart(CXCursor field, string name, long offset, Place at)
    {
        CXCursor record = clang_getTypeDeclaration(clang_getCanonicalType(clang_getCursorType(field)));
        long size = clang_Type_getSizeOf(clang_getCursorType(field));
        foreach (CXCursor bytes in Children(record).Where(c => c.kind == ClangKind.FieldDecl))
        {
            CXType type = clang_getCanonicalType(clang_getCursorType(bytes));
            string inner = Text(clang_getCursorSpelling(bytes));
            if (type.kind != ClangKind.TypeConstantArray || clang_getArraySize(type) != size)
                continue;
            return [new HeaderMember(inner, $"{name}.{inner}", "uint8_t", size.ToString(CultureInfo.InvariantCulture), offset, size, false, at, RingDocs.Of(inner))];
        }
        throw new HeaderImportException($"{at}: the shared ring's member {name} has no array of its bytes");
    }

    private string TypeName(CXCursor field, CXType element, string owner, string ownerPath, string member, string where)
    {
        if (element.kind == ClangKind.TypePointer)
            throw new HeaderImportException($"{where} is a pointer, which means nothing to the other side of shared memory");
        if (element.kind == ClangKind.TypeRecord)
            return RecordName(clang_getTypeDeclaration(element), owner, ownerPath, member);
        string integer = IntegerName(element)
            ?? throw new HeaderImportException($"{where} has the type {Text(clang_getTypeSpelling(element))}, which is no integer, struct or union");
        if (element.kind is ClangKind.TypeEnum || IsWord(element))
            return integer;
        return NamedInteger(field, integer);
    }

    private string RecordName(CXCursor record, string owner, string ownerPath, string member)
    {
        if (clang_Cursor_isAnonymous(record) == 0)
            return ReadRecord(record);
        string name = $"{owner}_{member}";
        ReadRecord(record, name, $"{ownerPath}.{member}", $"{ownerPath}.{member}");
        return name;
    }

    /// <summary>The name that the header gives an integer: a macro's, a typedef's, or stdint.h's.</summary>
    private string NamedInteger(CXCursor field, string integer)
    {
        CXSourceRange range = clang_getCursorExtent(field);
        string text = IsMadeByMacro(field) ? "" : _sources.Between(
            TranslationUnit.Spelling(clang_getRangeStart(range)), TranslationUnit.Spelling(clang_getCursorLocation(field)));
        string first = text.Split([' ', '\t', '\n'], 2)[0];
        if (_typeMacros.TryGetValue(first, out Macro? macro))
            return Declare(macro.Name, integer, HeaderNames.Of(macro.At.File), _sources.Comments(macro.At.File).Of(macro.Name, macro.At.Line, macro.At.Line));

        CXType type = ElementType(clang_getCursorType(field));
        CXCursor declaration = clang_getTypeDeclaration(type);
        string name = Text(clang_getCursorSpelling(declaration));
        if (declaration.kind != ClangKind.TypedefDecl || TypeTable.IsScalar(name) || name == integer)
            return integer;
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(declaration));
        bool isXens = at.File.Length > 0 && !at.File.Contains(SystemHeaders.FolderName, StringComparison.Ordinal);
        return !isXens ? integer : Declare(name, integer, HeaderNames.Of(at.File), _sources.Comments(at.File).Of(name, at.Line, at.Line));
    }

    private string Declare(string name, string integer, string header, string doc)
    {
        _typedefs.TryAdd(name, new HeaderTypedef(name, integer, header, doc));
        return name;
    }

    private static string? IntegerName(CXType type)
    {
        if (type.kind == ClangKind.TypeEnum)
            return IntegerName(clang_getCanonicalType(clang_getEnumDeclIntegerType(clang_getTypeDeclaration(type))));
        string? sign = type.kind switch
        {
            ClangKind.TypeBool or (>= ClangKind.TypeUChar and <= ClangKind.TypeULongLong) => "u",
            >= ClangKind.TypeSChar and <= ClangKind.TypeLongLong => "",
            _ => null,
        };
        return type.kind is ClangKind.TypeCharS or ClangKind.TypeCharU ? "char"
            : sign is null ? null
            : string.Create(CultureInfo.InvariantCulture, $"{sign}int{clang_Type_getSizeOf(type) * 8}_t");
    }

    /// <summary>long is as wide as a machine's registers: no one width is its name's. (int64_t is long long here, see SystemHeaders.)</summary>
    private static bool IsWord(CXType type) => type.kind is ClangKind.TypeLong or ClangKind.TypeULong;

    private static CXType ElementType(CXType type)
    {
        for (CXType element = clang_getElementType(type); element.kind != 0; element = clang_getElementType(type))
            type = element;
        return type;
    }

    /// <summary>The constant that the header counts the array with, or the number.</summary>
    private string Count(CXCursor field, long count)
    {
        CXSourceRange range = clang_getCursorExtent(field);
        string text = IsMadeByMacro(field) ? "" : _sources.Between(
            TranslationUnit.Spelling(clang_getCursorLocation(field)), TranslationUnit.Spelling(clang_getRangeEnd(range)));
        int open = text.IndexOf('[', StringComparison.Ordinal);
        int close = text.IndexOf(']', StringComparison.Ordinal);
        string name = open >= 0 && close > open ? text[(open + 1)..close].Trim() : "";
        bool isConstant = _constants.Any(c => c.Name == name && c.Text is null && c.Value == count);
        return isConstant ? name : count.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>What a macro makes lies, all of it, where the macro is used.</summary>
    private bool IsMadeByMacro(CXCursor cursor) => _macroUses.Contains(TranslationUnit.Expansion(clang_getCursorLocation(cursor)));
}
