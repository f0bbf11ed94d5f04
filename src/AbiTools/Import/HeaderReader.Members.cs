using System.Globalization;
using Blkring.Generators.Layout;
using Blkring.Generators.Model;
using static Blkring.AbiTools.Import.LibClang;

namespace Blkring.AbiTools.Import;

// Structs, unions and their members.
internal sealed partial class HeaderReader
{
    private const string EntryUnion = "_sring_entry";
    private const string SharedRing = "_sring";
    private const string Unnamed = "unnamed";
    private const int BitsPerByte = LayoutCursor.BitsPerByte;

    /// <summary>The spec's name of a named struct or union, which is read with everything in it.</summary>
    private string ReadRecord(CXCursor cursor)
    {
        string name = TagOf(cursor);
        // C spells a type that only a typedef names without the keyword struct.
        ReadRecord(cursor, name, TypeSpelling(cursor) == name ? name : null, name);
        return name;
    }

    private static string TypeSpelling(CXCursor record) =>
        Text(clang_getTypeSpelling(clang_getCanonicalType(clang_getCursorType(record))));

    private static string TagOf(CXCursor record) => TypeSpelling(record).Split(' ')[^1];

    private static List<CXCursor> Fields(CXCursor record) => Fields(Children(record));

    private static List<CXCursor> Fields(List<CXCursor> parts) => [.. parts.Where(c => c.kind == ClangKind.FieldDecl)];

    private static CXCursor Record(CXType type) => clang_getTypeDeclaration(ElementType(clang_getCanonicalType(type)));

    private static bool IsRecord(CXCursor cursor) => cursor.kind is ClangKind.StructDecl or ClangKind.UnionDecl;

    /// <summary>Whether a struct or union is empty, as GNU C allows: it shares nothing.</summary>
    private static bool IsEmpty(CXCursor record) =>
        clang_Type_getSizeOf(clang_getCursorType(record)) == 0
        && Fields(record)
            .All(f =>
                clang_getCursorType(f) is var type
                && clang_Cursor_isBitField(f) == 0
                && (IsZeroLength(clang_getCanonicalType(type)) || IsEmpty(type))
            );

    private static bool IsEmpty(CXType type) => Record(type) is var record && IsRecord(record) && IsEmpty(record);

    private static bool IsZeroLength(CXType type) =>
        type.kind == ClangKind.TypeConstantArray && clang_getArraySize(type) == 0;

    /// <summary>
    /// The first pointer in a struct or union, or in an unnamed part of it; null when there is none.
    /// </summary>
    private static string? PointerOf(CXCursor record)
    {
        foreach (CXCursor child in Children(record))
        {
            if (
                child.kind == ClangKind.FieldDecl
                && ElementType(clang_getCanonicalType(clang_getCursorType(child))).kind == ClangKind.TypePointer
            )
                return Text(clang_getCursorSpelling(child));
            if (IsRecord(child) && clang_Cursor_isAnonymous(child) != 0 && PointerOf(child) is { } inner)
                return inner;
        }
        return null;
    }

    /// <param name="path">How C names the type; null for its tag, empty when C cannot.</param>
    /// <param name="ownerPath">The path by which C reaches its members.</param>
    private void ReadRecord(CXCursor cursor, string name, string? path, string ownerPath)
    {
        if (_hints.LeavesOut(name) || !_typeNames.Add(name))
            return;
        if (IsEmpty(cursor))
        {
            LeaveOut(name, "it has no bytes");
            return;
        }
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(cursor));
        bool isMadeByMacro = IsMadeByMacro(cursor);
        List<CXCursor> parts = Children(cursor);
        List<CXCursor> fields = Fields(parts);
        if (isMadeByMacro && name.EndsWith(EntryUnion, StringComparison.Ordinal) && ReadRing(name, fields, at))
            return;
        bool isSharedRing = isMadeByMacro && IsSharedRing(name);
        if (isSharedRing)
            fields.RemoveAll(f => Text(clang_getCursorSpelling(f)) == "ring");

        CXType type = clang_getCursorType(cursor);
        var record = new RecordLayout(
            name,
            ownerPath,
            cursor.kind == ClangKind.UnionDecl,
            PackOf(parts, fields, clang_Type_getAlignOf(type))
        );
        ReadMembers(type, parts, fields, record);
        int firstLine = TranslationUnit.Expansion(clang_getRangeStart(clang_getCursorExtent(cursor))).Line;
        string doc = isMadeByMacro ? RingDocs.Of(name) : _sources.Comments(at.File).Of(name, firstLine, firstLine);
        var alignment = (int)clang_Type_getAlignOf(type);
        // A shared ring has the alignment of its entries, which a spec describes separately.
        int? align = alignment > record.Alignment && !isSharedRing ? alignment : null;
        _types.Add(
            new HeaderType(
                name,
                record.IsUnion,
                path,
                record.Pack,
                align,
                HeaderNames.Of(at.File),
                at,
                doc,
                clang_Type_getSizeOf(type),
                alignment,
                record.Members
            )
        );
    }

    private void ReadMembers(CXType type, List<CXCursor> parts, List<CXCursor> fields, RecordLayout record)
    {
        HashSet<CXCursor> wanted = [.. fields];
        // An unnamed part that is the type of a member belongs to that member. Most structs have no such parts.
        HashSet<string> named = parts.Any(IsRecord) ? [.. fields.Select(f => Key(Record(clang_getCursorType(f))))] : [];
        foreach (CXCursor child in parts)
        {
            if (child.kind == ClangKind.FieldDecl && clang_Cursor_isBitField(child) != 0)
                ReadBits(child, record);
            else if (child.kind == ClangKind.FieldDecl && wanted.Contains(child))
                ReadMember(child, record, isLast: child == fields[^1]);
            else if (IsRecord(child) && clang_Cursor_isAnonymous(child) != 0 && !named.Contains(Key(child)))
                ReadUnnamed(child, type, record);
        }
    }

    /// <summary>
    /// The largest alignment of a member, derived from the layout because attributes take too many forms to be read;
    /// null for C's own.
    /// </summary>
    private static int? PackOf(List<CXCursor> parts, List<CXCursor> fields, long alignment)
    {
        if (parts.Any(c => c.kind == ClangKind.PackedAttr))
            return 1;
        bool isPacked = fields.Any(f => clang_Type_getAlignOf(clang_getCursorType(f)) > alignment || ReachesOver(f));
        return isPacked ? (int)alignment : null;
    }

    /// <summary>A bit field with bits of two integers, which C allows in a packed struct only.</summary>
    private static bool ReachesOver(CXCursor field)
    {
        if (clang_Cursor_isBitField(field) == 0)
            return false;
        CXType type = clang_getCursorType(field);
        return (clang_Cursor_getOffsetOfField(field) % (BitsPerByte * clang_Type_getAlignOf(type)))
                + clang_getFieldDeclBitWidth(field)
            > BitsPerByte * clang_Type_getSizeOf(type);
    }

    /// <summary>
    /// An unnamed struct or union as an unnamed member: C reaches its members through the owner. A spec names both.
    /// </summary>
    private unsafe void ReadUnnamed(CXCursor cursor, CXType ownerType, RecordLayout owner)
    {
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(cursor));
        List<CXCursor> fields = Fields(cursor);
        if (fields.Count == 0)
            throw new HeaderImportException($"{at}: {owner.Name} has a member that has neither a name nor members");
        string name =
            ++owner.UnnamedMembers == 1
                ? Unnamed
                : Unnamed + owner.UnnamedMembers.ToString(CultureInfo.InvariantCulture);
        string type = $"{owner.Name}_{name}";
        ReadRecord(cursor, type, "", owner.Path);
        string first = Text(clang_getCursorSpelling(fields[0]));
        CXType own = clang_getCursorType(cursor);
        long bit;
        fixed (byte* text = System.Text.Encoding.UTF8.GetBytes(first + "\0"))
            bit = clang_Type_getOffsetOf(ownerType, text) - clang_Cursor_getOffsetOfField(fields[0]);
        owner.Add(
            new HeaderMember(
                name,
                first,
                type,
                null,
                bit,
                clang_Type_getSizeOf(own),
                null,
                null,
                MemberKind.Plain,
                at,
                ""
            ),
            clang_Type_getAlignOf(own)
        );
    }

    /// <summary>A bit field, or the bits that one without a name skips.</summary>
    private void ReadBits(CXCursor field, RecordLayout owner)
    {
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(field));
        string name = Text(clang_getCursorSpelling(field));
        string where = $"{at}: {owner.Name}.{name}";
        CXType type = clang_getCanonicalType(clang_getCursorType(field));
        string integer = TypeName(field, type, owner, name, where);
        if (integer == TypeTable.Char)
            throw new HeaderImportException(
                $"{where} is a bit field of char, whose sign differs between machines: declare it signed or unsigned"
            );
        int width = clang_getFieldDeclBitWidth(field);
        long bit = clang_Cursor_getOffsetOfField(field);
        bool isSkip = name.Length == 0;
        string path = isSkip ? string.Create(CultureInfo.InvariantCulture, $"skip {++owner.Skips}") : name;
        owner.Add(
            new HeaderMember(
                name,
                path,
                integer,
                null,
                bit,
                clang_Type_getSizeOf(type),
                width,
                null,
                isSkip ? MemberKind.Skip : MemberKind.Plain,
                at,
                isSkip ? "" : Doc(field, name, at)
            ),
            clang_Type_getAlignOf(type)
        );
    }

    private static string Key(CXCursor cursor)
    {
        Place at = TranslationUnit.Spelling(clang_getCursorLocation(cursor));
        return string.Create(CultureInfo.InvariantCulture, $"{at.File}:{at.Offset}");
    }

    /// <summary>
    /// DEFINE_RING_TYPES defines the union of a request and a response. False for another union with such a name.
    /// </summary>
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

    private void ReadMember(CXCursor field, RecordLayout owner, bool isLast)
    {
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(field));
        string name = Text(clang_getCursorSpelling(field));
        string where = $"{at}: {owner.Name}.{name}";
        CXType type = clang_getCanonicalType(clang_getCursorType(field));
        // Xen's macros define arrays whose lengths are only numbers to the compiler; some are zero.
        if (IsEmpty(type) || (IsZeroLength(type) && !isLast && IsMadeByMacro(field)))
            return;
        bool isTail = type.kind == ClangKind.TypeIncompleteArray || IsZeroLength(type);
        if (isTail && (owner.IsUnion || !isLast))
            throw new HeaderImportException(
                $"{where} is an array without a length that is not the last member of a struct"
            );
        CXType element = ElementType(type);
        long size = isTail ? 0 : clang_Type_getSizeOf(type);
        // An array of arrays becomes one array of all elements.
        string? count =
            type.kind == ClangKind.TypeConstantArray && !isTail ? Count(field, size / clang_Type_getSizeOf(element))
            : isTail ? "0"
            : null;
        long bit = clang_Cursor_getOffsetOfField(field);
        string doc = IsMadeByMacro(field) ? RingDocs.Of(name) : Doc(field, name, at);
        long alignment = clang_Type_getAlignOf(element);
        if (element.kind == ClangKind.TypeRecord && IsSharedRing(owner.Name))
        {
            owner.Add(PrivatePart(field, name, bit, at), alignment);
            return;
        }
        string typeName = TypeName(field, element, owner, name, where);
        if (IsPointer(element))
        {
            doc = $"A pointer: a number to all but its writer. {doc}".TrimEnd();
            alignment = _target.AlignmentOf(clang_Type_getSizeOf(element));
        }
        owner.Add(
            new HeaderMember(
                name,
                name,
                typeName,
                count,
                bit,
                size,
                null,
                null,
                isTail ? MemberKind.Tail : MemberKind.Plain,
                at,
                doc
            ),
            alignment
        );
    }

    private string Doc(CXCursor field, string name, Place at)
    {
        CXSourceRange range = clang_getCursorExtent(field);
        return _sources
            .Comments(at.File)
            .Of(
                name,
                TranslationUnit.Expansion(clang_getRangeStart(range)).Line,
                TranslationUnit.Expansion(clang_getRangeEnd(range)).Line
            );
    }

    /// <summary>
    /// A shared ring's header has a union of data that some protocols keep there; the spec has its bytes.
    /// </summary>
    private static HeaderMember PrivatePart(CXCursor field, string name, long bit, Place at)
    {
        long size = clang_Type_getSizeOf(clang_getCursorType(field));
        foreach (CXCursor bytes in Fields(Record(clang_getCursorType(field))))
        {
            CXType type = clang_getCanonicalType(clang_getCursorType(bytes));
            string inner = Text(clang_getCursorSpelling(bytes));
            if (type.kind == ClangKind.TypeConstantArray && clang_getArraySize(type) == size)
                return new HeaderMember(
                    inner,
                    $"{name}.{inner}",
                    "uint8_t",
                    size.ToString(CultureInfo.InvariantCulture),
                    bit,
                    size,
                    null,
                    null,
                    MemberKind.Plain,
                    at,
                    RingDocs.Of(inner)
                );
        }
        throw new HeaderImportException($"{at}: the shared ring's member {name} has no array of its bytes");
    }

    private string TypeName(CXCursor field, CXType element, RecordLayout owner, string member, string where)
    {
        if (IsPointer(element))
            return UnsignedOf(clang_Type_getSizeOf(element));
        if (element.kind == ClangKind.TypeRecord)
            return RecordName(clang_getTypeDeclaration(element), owner, member);
        string integer =
            IntegerName(element)
            ?? throw new HeaderImportException(
                $"{where} has the type {Text(clang_getTypeSpelling(element))}, which is not an integer, struct or union"
            );
        if (element.kind is ClangKind.TypeEnum || IsWord(element))
            return integer;
        return NamedInteger(field, integer);
    }

    /// <summary>A pointer, or a guest handle: a pointer that a macro of Xen's has wrapped in a struct.</summary>
    private bool IsPointer(CXType element)
    {
        if (element.kind != ClangKind.TypeRecord)
            return element.kind == ClangKind.TypePointer;
        CXCursor record = clang_getTypeDeclaration(element);
        return clang_Type_getSizeOf(element) <= sizeof(ulong) && IsMadeByMacro(record) && PointerOf(record) is not null;
    }

    private string RecordName(CXCursor record, RecordLayout owner, string member)
    {
        if (clang_Cursor_isAnonymous(record) == 0)
            return ReadRecord(record);
        string name = $"{owner.Name}_{member}";
        ReadRecord(record, name, $"{owner.Path}.{member}", $"{owner.Path}.{member}");
        return name;
    }

    /// <summary>The name that the header gives an integer: a macro's, a typedef's, or stdint.h's.</summary>
    private string NamedInteger(CXCursor field, string integer)
    {
        CXSourceRange range = clang_getCursorExtent(field);
        string text = IsMadeByMacro(field)
            ? ""
            : _sources.Between(
                TranslationUnit.Spelling(clang_getRangeStart(range)),
                TranslationUnit.Spelling(clang_getCursorLocation(field))
            );
        string first = text.Split([' ', '\t', '\n'], 2)[0];
        if (_typeMacros.TryGetValue(first, out Macro? macro))
            return Declare(
                macro.Name,
                integer,
                HeaderNames.Of(macro.At.File),
                _sources.Comments(macro.At.File).Of(macro.Name, macro.At.Line, macro.At.Line)
            );

        CXType type = ElementType(clang_getCursorType(field));
        CXCursor declaration = clang_getTypeDeclaration(type);
        string name = Text(clang_getCursorSpelling(declaration));
        if (declaration.kind != ClangKind.TypedefDecl || TypeTable.IsScalar(name) || name == integer)
            return integer;
        Place at = TranslationUnit.Expansion(clang_getCursorLocation(declaration));
        bool isXens = at.File.Length > 0 && !at.File.Contains(SystemHeaders.FolderName, StringComparison.Ordinal);
        return !isXens
            ? integer
            : Declare(name, integer, HeaderNames.Of(at.File), _sources.Comments(at.File).Of(name, at.Line, at.Line));
    }

    /// <summary>The constant that the header counts the array with, or the number.</summary>
    private string Count(CXCursor field, long count)
    {
        CXSourceRange range = clang_getCursorExtent(field);
        string text = IsMadeByMacro(field)
            ? ""
            : _sources.Between(
                TranslationUnit.Spelling(clang_getCursorLocation(field)),
                TranslationUnit.Spelling(clang_getRangeEnd(range))
            );
        int open = text.IndexOf('[', StringComparison.Ordinal);
        int close = text.IndexOf(']', StringComparison.Ordinal);
        string name = open >= 0 && close > open ? text[(open + 1)..close].Trim() : "";
        return name.Length > 0 && _constantValues.GetValueOrDefault(name) == count
            ? name
            : count.ToString(CultureInfo.InvariantCulture);
    }
}
